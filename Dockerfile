FROM python:3.13-slim AS build
# `traces` adds OpenTelemetry's exporter.
ARG REQUIREMENTS=serve
COPY requirements/${REQUIREMENTS}.txt /requirements.txt
RUN python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install --quiet --no-cache-dir --no-deps --require-hashes -r /requirements.txt \
 && cd /venv/lib/python3*/site-packages \
 # The plugins for graphics and neural processors and the readers of other formats are a third of OpenVINO.
 && rm -rf openvino/libs/*_gpu_plugin* openvino/libs/*_npu_plugin* openvino/libs/cache.json \
      openvino/libs/*_tensorflow_* openvino/libs/*_pytorch_* openvino/libs/*_paddle_* openvino/libs/*_jax_* \
      openvino/libs/*_gguf_* openvino/include openvino/frontend/pytorch openvino/frontend/tensorflow \
      setuptools* _distutils_hack distutils-precedence.pth \
 && find . -type d -name tests -prune -exec rm -rf {} +

FROM python:3.13-slim
RUN useradd --no-create-home --shell /usr/sbin/nologin --uid 10001 convoscope
COPY --from=build /venv /venv
WORKDIR /srv
COPY app app
COPY client/convoscope_client convoscope_client
COPY models models
RUN python -m compileall -q app convoscope_client
LABEL org.opencontainers.image.title="Convoscope" \
      org.opencontainers.image.description="A picture classifier as a web service" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0"
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 CONVOSCOPE_HOST=0.0.0.0
# By number: Kubernetes checks that it is not root.
USER 10001
# The port is 8000; on SageMaker 8080, and on Vertex AI what AIP_HTTP_PORT says.
EXPOSE 8000 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-c", "import http.client; from app.settings import Settings; c = http.client.HTTPConnection('127.0.0.1', Settings().port); c.request('GET', '/readyz'); exit(c.getresponse().status != 200)"]
# So that `docker run IMAGE serve` works, as SageMaker starts it.
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]

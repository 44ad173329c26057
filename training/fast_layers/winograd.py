"""3x3 convolutions in float32 with a quarter of the multiplications: what `winograd.cc` computes, for TensorFlow.

It is compiled for this very processor when it is first needed, in ten seconds, and kept in the cache folder.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import tensorflow as tf

from training.data import cache_folder

SOURCE = Path(__file__).with_suffix(".cc")
PROCESSOR = Path("/proc/cpuinfo")
MULTIPLE = 32
"""Channels are multiplied in groups of so many; what a group lacks is filled up with zeros."""


@cache
def operations() -> Any:
    """The compiled operations; None without AVX2, Linux or a C++ compiler (`CXX`, or else `c++`) that takes them."""
    processor = _processor()
    if not {"avx2", "fma"} <= set(processor.split()):
        return None
    # Of TensorFlow's headers, Eigen's half precision does not compile with every compiler; nothing here needs it.
    options = ["-O3", "-march=native", "-mno-avx512fp16", "-w", "-shared", "-fPIC"]
    command = [
        os.environ.get("CXX", "c++"),
        *options,
        *tf.sysconfig.get_compile_flags(),
        *tf.sysconfig.get_link_flags(),
    ]
    known = repr((command, processor, tf.__version__)).encode() + SOURCE.read_bytes()
    library = cache_folder(os.environ) / f"winograd-{hashlib.sha256(known).hexdigest()[:16]}.so"
    temporary = library.with_suffix(f".{os.getpid()}.tmp")
    try:
        if not library.exists():
            library.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([*command, SOURCE, "-o", temporary], check=True, capture_output=True)
            temporary.rename(library)
        return tf.load_op_library(str(library))
    except (OSError, subprocess.CalledProcessError, tf.errors.NotFoundError) as error:
        print(f"{SOURCE.name} cannot be compiled, so float32 trains more slowly ({error})", file=sys.stderr)
        sys.stderr.write(getattr(error, "stderr", b"").decode(errors="replace"))
        return None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _processor() -> str:
    """What tells processors apart, as Linux says it."""
    lines = PROCESSOR.read_text().splitlines() if PROCESSOR.exists() else []
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Images (N, H, W, in) with a kernel (3, 3, in, out), float32: (N, H, W, out), zeros beyond the edges."""
    inputs, filters = kernel.shape[2:]
    more_inputs, more_filters = -inputs % MULTIPLE, -filters % MULTIPLE
    if more_inputs:
        images = tf.pad(images, ((0, 0), (0, 0), (0, 0), (0, more_inputs)))
    if more_inputs or more_filters:
        kernel = tf.pad(kernel, ((0, 0), (0, 0), (0, more_inputs), (0, more_filters)))
    output = _convolve(images, kernel)
    return output[..., :filters] if more_filters else output


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _convolve(images: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        turned = tf.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))
        to_images = operations().winograd_convolution(upstream, turned)
        return to_images, operations().winograd_kernel_gradient(images, upstream)

    return operations().winograd_convolution(images, kernel), gradients

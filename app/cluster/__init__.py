"""`--ray`: the service as replicas on a Ray cluster, and the batch job spread over one.

`connection` joins a cluster or starts one on this machine, `serving` deploys the application with Ray Serve, and
`predicting` runs the pipeline of `app.batch` with Ray Data. Ray is the extra `ray`, imported only when `--ray` asks.
"""

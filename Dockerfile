# One image for api, scheduler and coordinator (target `control`) and one per backend (target `hf`).
# Another backend is a build stage that installs it and a stage that copies it: the four lines of `hf`.
# Health checks stand in docker-compose.yml, because what is healthy differs between the processes of one image.

FROM python:3.11-slim-bookworm AS base
ENV PATH=/opt/evalq/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    EVALQ_CACHE=/opt/evalq-cache \
    EVALQ_DATA_DIR=/var/lib/evalq \
    HF_HOME=/var/lib/evalq/huggingface

FROM base AS build-control
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/control.txt requirements/
RUN python -m venv /opt/evalq && pip install -r requirements/control.txt
COPY pyproject.toml ./
COPY app app
COPY workers workers
COPY migrations migrations
RUN pip install --no-deps --no-build-isolation .

FROM build-control AS build-hf
RUN evalq backends install hf

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

# The wheel and its locked dependencies are installed in the first stage; the second carries neither pip's cache nor the
# sources. Digests are left to the operator: `docker buildx imagetools inspect` names the one of the day.
FROM python:3.13-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/flykeep && python -m venv /opt/build
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN /opt/flykeep/bin/pip install --disable-pip-version-check --no-deps --require-hashes -r requirements/runtime.txt \
    && /opt/build/bin/pip install --disable-pip-version-check --no-deps --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/build/bin/pip wheel --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/flykeep/bin/pip install --disable-pip-version-check --no-deps --no-index wheels/flykeep-*.whl

FROM python:3.13-slim-bookworm
# age, zstd and tar are not flykeep's own tools: they let a person open an artifact from a shell of this machine.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        age ca-certificates openssh-client tar zstd \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 flykeep \
    && useradd --uid 10001 --gid flykeep --create-home --shell /usr/sbin/nologin flykeep \
    && install -d -o flykeep -g flykeep -m 0750 /data \
    && install -d -m 0755 /etc/flykeep
COPY --from=build /opt/flykeep /opt/flykeep
COPY --chmod=0755 scripts/container/flykeep /usr/local/bin/flykeep
ENV FLYKEEP_CONFIG=/etc/flykeep/config.toml PYTHONUNBUFFERED=1
WORKDIR /data
EXPOSE 8080
STOPSIGNAL SIGINT
# Fly ignores this line and uses [checks] of fly.toml; it serves other hosts of the image.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["/opt/flykeep/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
# Root only until the wrapper has handed the mounted volume to the user `flykeep`: a fresh volume belongs to root.
CMD ["flykeep", "run"]

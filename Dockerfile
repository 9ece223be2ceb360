# The hub on the embedded store; compose.yaml adds MongoDB.
FROM python:3.12-slim AS build
WORKDIR /src
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY taxii_server ./taxii_server
RUN python -m venv /opt/taxii-server && /opt/taxii-server/bin/pip install --no-cache-dir .

FROM python:3.12-slim
RUN groupadd --gid 10001 taxii && useradd --uid 10001 --gid taxii --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin taxii \
    && install -d -o taxii -g taxii -m 0700 /var/lib/taxii-server
COPY --from=build /opt/taxii-server /opt/taxii-server
COPY config /etc/taxii-server/config
COPY collections /etc/taxii-server/collections
ENV PATH=/opt/taxii-server/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TAXII_SERVER_CONFIG=/etc/taxii-server/config/server.toml \
    TAXII_SERVER_HOST=0.0.0.0 \
    TAXII_SERVER_STORE=/var/lib/taxii-server/taxii.db
USER 10001:10001
VOLUME /var/lib/taxii-server
EXPOSE 6100
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:6100/readyz', timeout=2)"]
CMD ["taxii-server", "serve"]

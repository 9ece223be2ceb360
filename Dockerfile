# The hub on the embedded store; compose.yaml adds MongoDB.
# Inside a container every address is one that others reach: what is published decides. Publish it on 127.0.0.1, or to a
# proxy with TLS, or give it a certificate (docs/tls.md); then set TAXII_SERVER_PLAIN_HTTP=false.
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
    TAXII_SERVER_PLAIN_HTTP=true \
    TAXII_SERVER_STORE=/var/lib/taxii-server/taxii.db
USER 10001:10001
VOLUME /var/lib/taxii-server
EXPOSE 6100
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import os, ssl, urllib.request; s = bool(os.environ.get('TAXII_SERVER_TLS_CERTIFICATE')); urllib.request.urlopen(f\"http{'s' * s}://127.0.0.1:6100/readyz\", timeout=2, context=ssl._create_unverified_context() if s else None)"]
CMD ["taxii-server", "serve"]

# The label server and its page. From the repository's folder: docker build -f docker/label.Dockerfile .
FROM python:3.11.11-slim-bookworm

# For a GPU: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128, and `gpus: all` in docker-compose.yml.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# The number is fixed, so that volumes stay readable when the image is built anew.
RUN groupadd --gid 10001 casr \
    && useradd --uid 10001 --gid casr --no-create-home --home-dir /tmp --shell /usr/sbin/nologin casr \
    && install --directory --owner=casr --group=casr --mode=0700 /state \
    && install --directory --owner=casr --group=casr --mode=0755 /studies

WORKDIR /opt/casr
COPY monai_bundle/label_app/requirements-label.txt ./
RUN python -m pip install --no-cache-dir --disable-pip-version-check --index-url "${TORCH_INDEX}" \
        --extra-index-url https://pypi.org/simple torch==2.13.0 \
    && python -m pip install --no-cache-dir --disable-pip-version-check --no-deps --requirement requirements-label.txt

COPY LICENSE ./
COPY monai_bundle/ ./monai_bundle/
RUN python -m compileall -q monai_bundle

ENV PYTHONPATH=/opt/casr/monai_bundle/label_app:/opt/casr/monai_bundle \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp

USER 10001:10001
EXPOSE 8000
VOLUME ["/state", "/studies"]
HEALTHCHECK --interval=30s --timeout=15s --start-period=180s --retries=3 \
    CMD ["python", "-m", "casr_label.health"]
# It takes no request from elsewhere without CASR_LABEL_TOKEN: without one it does not start.
ENTRYPOINT ["python", "-m", "casr_label", "--host", "0.0.0.0", "--state", "/state"]
CMD ["--studies", "/studies"]

# The archive: Orthanc 1.10.1 and its DICOMweb plugin 1.7, as Debian 12 has them, which are those that the tests use.
FROM debian:12.9-slim

# Versions are those of Debian's stable release; security updates replace them there.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl orthanc orthanc-dicomweb \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10002 archive \
    && useradd --uid 10002 --gid archive --no-create-home --home-dir /tmp --shell /usr/sbin/nologin archive \
    && install --directory --owner=archive --group=archive --mode=0700 /archive

COPY docker/orthanc.json /etc/casr/orthanc.json

ENV ORTHANC_STORAGE=/archive \
    ORTHANC_REMOTE=true

USER 10002:10002
EXPOSE 8042 4242
VOLUME ["/archive"]
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["sh", "-c", "exec curl -fsS -o /dev/null -u \"casr:${ORTHANC_PASSWORD}\" http://127.0.0.1:8042/system"]
ENTRYPOINT ["Orthanc"]
CMD ["/etc/casr/orthanc.json"]

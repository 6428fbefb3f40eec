# Stands for gcr.io/distroless/python3-debian12:nonroot: its user, home and entry point, no shell and no pip. What differs:
# the rest of Debian's minimal system is still there.
FROM asr-rehearsal-base
RUN useradd --uid 65532 --create-home nonroot && mkdir -p /home/nonroot \
    && rm -rf /usr/lib/python3/dist-packages/pip* /usr/bin/pip* /bin/bash /bin/dash /bin/sh
USER 65532
WORKDIR /home/nonroot
ENTRYPOINT ["/usr/bin/python3.11"]

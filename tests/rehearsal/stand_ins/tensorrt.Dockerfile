# Stands for nvcr.io/nvidia/tensorrt:RELEASE-py3. What differs: Debian 12 and Python 3.11; neither TensorRT nor CUDA.
FROM asr-rehearsal-base
RUN mkdir -p /opt/nvidia /workspace \
    && printf '#!/bin/sh\necho "== TensorRT stand-in =="\nexec "$@"\n' >/opt/nvidia/nvidia_entrypoint.sh \
    && chmod 755 /opt/nvidia/nvidia_entrypoint.sh
WORKDIR /workspace
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]

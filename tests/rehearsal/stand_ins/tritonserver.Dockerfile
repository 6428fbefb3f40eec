# Stands for nvcr.io/nvidia/tritonserver:RELEASE-py3: its user, folders, PATH and entry point around the Triton of the PyPI
# wheel. What differs: Debian 12 and Python 3.11 (there Ubuntu 24.04 and 3.12); Triton 2.51 with the Python backend alone,
# so NumPy stays below 2; no CUDA.
FROM asr-rehearsal-base
RUN pip install --break-system-packages --no-cache-dir --no-deps --target /opt/wheel nvidia-pytriton==0.7.0 \
    && mkdir -p /opt/tritonserver/bin /opt/tritonserver/backends/python /opt/nvidia \
    && wheel=/opt/wheel/pytriton/tritonserver \
    && ln -s $wheel/bin/tritonserver /opt/tritonserver/bin/tritonserver \
    && ln -s $wheel/backends/python/* /opt/tritonserver/backends/python/ \
    && ln -s $wheel/python_backend_stubs/3.11/triton_python_backend_stub /opt/tritonserver/backends/python/ \
    && printf '#!/bin/sh\necho "== Triton stand-in =="\nexec "$@"\n' >/opt/nvidia/nvidia_entrypoint.sh \
    && chmod 755 /opt/nvidia/nvidia_entrypoint.sh \
    && printf 'numpy<2\n' >/etc/pip-constraints.txt \
    && useradd --uid 1000 triton-server
ENV PATH=/opt/tritonserver/bin:$PATH TRITON_SERVER_USER=triton-server PIP_BREAK_SYSTEM_PACKAGES=1 \
    PIP_CONSTRAINT=/etc/pip-constraints.txt
WORKDIR /opt/tritonserver
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]

# Stands for python:3.11-slim-bookworm. What differs: Debian's own Python 3.11, which pip may install into; no /usr/local.
FROM asr-rehearsal-base
RUN rm /usr/lib/python3*/EXTERNALLY-MANAGED && ln -s python3 /usr/bin/python
CMD ["python3"]

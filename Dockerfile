# The service, and with other commands the sandbox: `docker run wxlogin wxlogin sandbox --host 0.0.0.0`.
# Behind a mirror of the package index: docker build --build-arg PIP_INDEX_URL=https://… .

FROM python:3.13-slim AS build
# What pip is told stays in this stage: an address with a password in it is in no layer of the image.
ARG PIP_INDEX_URL= PIP_EXTRA_INDEX_URL= PIP_TRUSTED_HOST=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv --without-pip /opt/wxlogin
# The dependencies come first, with the package's frame alone: a change of the code leaves their layer as it is.
COPY pyproject.toml setup.cfg constraints.txt LICENSE ./
COPY wxlogin/__init__.py wxlogin/
RUN pip --python /opt/wxlogin/bin/python install --quiet --constraint constraints.txt .
COPY README.md ./
COPY wxlogin wxlogin
# The simulator's page runs the client of mini-programs: a link there leads here.
COPY miniprogram/miniprogram_dist/wxlogin.js miniprogram/miniprogram_dist/
RUN pip --python /opt/wxlogin/bin/python install --quiet --no-deps --force-reinstall .

FROM python:3.13-slim
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="wxlogin" \
      org.opencontainers.image.description="Log WeChat mini-program users in: a code goes in, a session cookie comes out" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ENV PATH=/opt/wxlogin/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/wxlogin /opt/wxlogin
WORKDIR /srv/wxlogin
COPY --chmod=644 wsgi.py gunicorn.conf.py ./
# A number, so that Kubernetes can tell that it isn't root. Nothing in the image belongs to it.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["gunicorn", "--bind", "0.0.0.0:8000", "wsgi:app"]

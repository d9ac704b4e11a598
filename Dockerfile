# The manager: web, workers, beat and Flower are one image with different commands.
ARG BASE_IMAGE=python:3.13-slim
FROM ${BASE_IMAGE}

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/venv/bin:$PATH
WORKDIR /app
COPY requirements.lock .
# If pip needs a proxy with its own certificate, put its CA into the base image and set PIP_CERT there.
RUN python3 -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY . .
RUN useradd --system --create-home --uid 10001 podfleet && mkdir -p /app/var /redis-public && chown podfleet /app/var /redis-public
USER podfleet
EXPOSE 8000 5555
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--blocking-threads", "4", "config.wsgi:application"]

# spikeloom with the versions that its tests ran with:
#
#   docker build -t spikeloom .
#   docker run --rm -it -v "$PWD:/work" spikeloom spikeloom demo
#   docker run --rm -it --gpus all --shm-size 8g -v "$PWD:/work" spikeloom spikeloom train gesture-vgg11
#
# Loaders with several processes share batches in /dev/shm, of which Docker gives 64 MB unless --shm-size says otherwise.
# The image contains tonic (GPL-3.0) beside spikeloom (Apache-2.0): see "Licence of a bundle" in docs/installation.md before
# you pass it on.
FROM python:3.11-slim

# Triton compiles the code that launches its kernels with gcc; Ray's cluster launcher copies files with rsync.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev rsync && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml constraints.txt README.md LICENSE /opt/spikeloom/
COPY preprocess /opt/spikeloom/preprocess
COPY pipeline /opt/spikeloom/pipeline
COPY tune /opt/spikeloom/tune
RUN pip install --no-cache-dir --constraint /opt/spikeloom/constraints.txt "/opt/spikeloom[nir,rosbag]"

# Files in mounted folders then belong to the first user of most hosts; another: docker build --build-arg UID=$(id -u).
ARG UID=1000
RUN useradd --create-home --uid "$UID" spikeloom && mkdir /work && chown spikeloom /work
USER spikeloom
WORKDIR /work
ENV RAY_USAGE_STATS_ENABLED=0
CMD ["spikeloom", "--help"]

"""Spiking networks: frames (T, B, C, H, W) to logits (T, B, classes)."""

from pipeline.networks.registry import NETWORKS as NETWORKS
from pipeline.networks.registry import build_network as build_network
from pipeline.networks.spiking_layers import SpikeCounter as SpikeCounter
from pipeline.networks.spiking_layers import neuron_layers as neuron_layers
from pipeline.networks.spiking_layers import reset_network as reset_network

"""HiProbe-VAD: the hidden states of the layer that tells most, in place of heads. No torch."""

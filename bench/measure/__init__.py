"""The instruments: step time and peak memory of one training step at a fixed shape."""

"""The parts of gateway profiles; see `harness.profile`, which exports what others use."""

"""The pipeline where a GPU is: frames stay on the device from decoding to the blended face."""

"""Where backends plug in: third-party weights, the Engine protocol and what implements it.

Engines know tensors, not faces.
"""

"""Generated from proto/noisegate/v1 by `make generate`; do not edit."""

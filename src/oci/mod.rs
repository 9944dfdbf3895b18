//! TODO(oci)

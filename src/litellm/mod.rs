//! TODO(litellm)

//! What scripts deploy.

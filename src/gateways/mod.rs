//! The gateways: where clients find the models.

pub mod litellm;

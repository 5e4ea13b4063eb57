//! Sign-in, sessions and sign-out against a provider on loopback and a store with a fault switch.

mod front_channel;
mod lifetime;
mod provider;
mod renewal;
mod sign_in;
mod sign_out;
mod step_up;

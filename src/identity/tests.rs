//! Sign-in, sessions and sign-out against a provider on loopback and a store with a fault switch.

mod circles;
mod device_key;
mod front_channel;
mod issuers;
mod lifetime;
mod lock;
mod meetings;
mod mutations;
mod protocol;
mod provider;
mod renewal;
mod seams;
mod second_factor;
mod second_factor_attacks;
mod second_factor_tries;
mod second_factor_visits;
mod sign_in;
mod sign_out;
mod step_up;
mod workstations;

//! The host's intermediate representation of a network, with every shape known, and the zoo. Never holds encoded weights.

//! The embdl command.

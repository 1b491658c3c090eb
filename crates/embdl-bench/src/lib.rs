//! The timing and retest protocol, and the small runner that goes to a board. Never reports a number without its provenance.

//! What tests share: guard pages and seeded data. Never a dependency of shipped code.

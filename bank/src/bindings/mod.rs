//! Python's side.

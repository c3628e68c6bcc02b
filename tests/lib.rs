//! Support for the tests that boot real guests.

//! Stages: runs of decoder layers that execute in one place.

//! What places a generation: gates that a user wrote, and a cost model.

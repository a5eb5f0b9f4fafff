mod enrolment;
mod ground;
mod handshake;
mod heartbeat;
mod loss;
mod network;
mod nodes;
mod relay;

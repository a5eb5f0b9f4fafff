mod enrolment;
mod ground;
mod handshake;
mod heartbeat;
mod network;
mod nodes;
mod relay;

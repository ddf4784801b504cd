"""What an attacker can send, and what the application and the client see of it."""

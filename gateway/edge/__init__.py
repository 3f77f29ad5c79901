"""Inbound: OpenAI HTTP, agent gRPC and the admin port. Speaks each client's idiom."""

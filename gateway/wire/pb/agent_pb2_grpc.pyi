import grpc.aio

from gateway.wire.pb import agent_pb2

class AgentServiceStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    Converse: grpc.aio.StreamStreamMultiCallable[agent_pb2.ConverseRequest, agent_pb2.ConverseEvent]
    Generate: grpc.aio.UnaryStreamMultiCallable[agent_pb2.GenerateRequest, agent_pb2.GenerateEvent]
    ListModels: grpc.aio.UnaryUnaryMultiCallable[agent_pb2.ListModelsRequest, agent_pb2.ListModelsResponse]

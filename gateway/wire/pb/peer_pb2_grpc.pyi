import grpc.aio

from gateway.wire.pb import peer_pb2

class PeerServiceStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    Link: grpc.aio.StreamStreamMultiCallable[peer_pb2.PeerFrame, peer_pb2.PeerFrame]

"""The one error tree of the gateway.

    GatewayError
    ├── RequestError            the caller must change the request
    │   ├── InvalidRequest      a field is malformed, missing or out of range
    │   │   └── InvalidSchema   a JSON schema, regex or grammar cannot be used
    │   ├── UnknownModel        the named model is not served here
    │   ├── ContextLengthExceeded
    │   ├── UnsupportedTools    tools or instructions this model cannot follow
    │   ├── PayloadTooLarge
    │   ├── UnsupportedEncoding the body is compressed
    │   ├── UnsupportedMediaType  the body is declared as something else than JSON
    │   ├── RegionNotAllowed    the request may not be answered there
    │   ├── RecordNotFound      no turn with that id is kept here
    │   └── SessionNotFound     no site of the grid has that session any more
    ├── AccessError             the caller may not do this
    │   ├── Unauthenticated
    │   ├── HostNotAllowed      a keyless site is asked in another's name
    │   ├── ClassNotAllowed
    │   └── RateLimited
    ├── CapacityError           the site cannot serve this now
    │   ├── SloUnattainable     shed: the best estimate misses the budget, or the budget ran out
    │   ├── SiteDraining
    │   ├── TurnCutOff          the site ended before the turn did
    │   └── DeadlineExceeded    the call's own deadline passed
    ├── SessionMoved            another site goes on with the session
    ├── TurnFailedBefore        the turn failed, and the session has changed sites since
    ├── ClientStalled           the client stopped reading its stream
    ├── EngineError             the model could not be run
    │   ├── EngineUnavailable
    │   ├── EngineFault
    │   └── UpstreamError       a server that answers for this site: it answers nonsense
    │       ├── UpstreamUnavailable   it is not there, or broke off
    │       ├── UpstreamBusy          it has no room
    │       ├── UpstreamTimeout       it says nothing
    │       └── UpstreamRefused       it does not take what this site sends: key, model, fields
    ├── OfferRefused            (core.call_errors) a call that was offered is not set up

"""The configuration: frozen, checked dataclasses, and the one description from which every source of them is read."""

from ..suggest import did_you_mean, nearest
from .gate import CAN_WAIT, Action, GateConfig, refuse_waiting
from .kinds import (
    AUTO,
    Bind,
    Choice,
    Duration,
    Flag,
    Integer,
    Kind,
    Mode,
    Repeated,
    Size,
    SystemDuration,
    Text,
    UnixAddress,
)
from .option import Option
from .options import (
    DEFAULT_THREADS,
    DefaultBind,
    DefaultThreads,
    EngineName,
    Limits,
    LogFormat,
    LogLevel,
    Model,
    OnFull,
    ServerConfig,
    SlowConsumer,
    Timeouts,
    build,
    options,
)
from .overload import OverloadConfig, TcpConfig
from .process import ProcessConfig
from .tls import TlsConfig
from .workers import WorkersConfig

__all__ = [
    "AUTO",
    "CAN_WAIT",
    "DEFAULT_THREADS",
    "Action",
    "Bind",
    "Choice",
    "DefaultBind",
    "DefaultThreads",
    "Duration",
    "EngineName",
    "Flag",
    "GateConfig",
    "Integer",
    "Kind",
    "Limits",
    "LogFormat",
    "LogLevel",
    "Mode",
    "Model",
    "OnFull",
    "Option",
    "OverloadConfig",
    "ProcessConfig",
    "Repeated",
    "ServerConfig",
    "Size",
    "SlowConsumer",
    "SystemDuration",
    "TcpConfig",
    "Text",
    "Timeouts",
    "TlsConfig",
    "UnixAddress",
    "WorkersConfig",
    "build",
    "did_you_mean",
    "nearest",
    "options",
    "refuse_waiting",
]

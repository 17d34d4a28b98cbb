"""Names of the packs that belong to the system."""

SYSTEM_PACK_NAME = "core"
PACKS_PACK_NAME = "packs"
LINUX_PACK_NAME = "linux"
CHATOPS_PACK_NAME = "chatops"
DEFAULT_PACK_NAME = "default"

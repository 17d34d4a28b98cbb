"""Where packs find their base class."""

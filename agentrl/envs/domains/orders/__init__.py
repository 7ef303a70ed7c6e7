"""A web shop: the agent alone holds the tools."""

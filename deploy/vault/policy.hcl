# What the pack may do in Vault: its own folder of the KV version 2 engine mounted at secret/, and nothing else.
# Load it with: vault policy write kubestorm policy.hcl
path "secret/data/kubestorm/*" {
  capabilities = ["create", "read", "update"]
}

# Describing a secret without reading it, and removing all versions where a Database asks for Delete.
path "secret/metadata/kubestorm/*" {
  capabilities = ["read", "list", "update", "delete"]
}

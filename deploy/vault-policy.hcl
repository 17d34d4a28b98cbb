# The least that the database journey needs of Vault: vault policy write kubestorm deploy/vault-policy.hcl
# Change "secret" to vault.mount of the pack's configuration, and "+" to its cluster, so that one cluster's pack cannot
# read another's credentials.

path "secret/data/kubestorm/+/*" {
  capabilities = ["create", "read", "update"]
}

# The version that check-and-set names, the end of a confirmed deletion, and (list) the search for drift.
path "secret/metadata/kubestorm/+/*" {
  capabilities = ["read", "delete", "list"]
}

# The namespaces that have credentials: where the search for drift begins.
path "secret/metadata/kubestorm/+" {
  capabilities = ["list"]
}

# Image builds: what git servers and registries are shown. Read only; people write these.
path "secret/data/builds/+/*" {
  capabilities = ["read"]
}

path "secret/data/registries/*" {
  capabilities = ["read"]
}

# What webhooks of git servers are signed with, where it is kept here.
path "secret/data/webhooks/*" {
  capabilities = ["read"]
}

# What Applications read of their own namespaces is above. What application.sources of the pack's configuration allows
# beside it, it has to be allowed here too, for instance:
#
# path "secret/data/shared/*" {
#   capabilities = ["read"]
# }

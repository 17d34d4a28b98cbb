# The least that the database journey needs of Consul: consul acl policy create -name kubestorm -rules @deploy/consul-policy.hcl
# Add your cluster to the prefix (kubestorm/CLUSTER/), so that one cluster's pack cannot write another's addresses.

key_prefix "kubestorm/" {
  policy = "write"
}

# What application.sources of the pack's configuration lets Applications read beside it, for instance:
#
# key_prefix "shared/" {
#   policy = "read"
# }

# Where the Proxmox endpoint and token come from. The environment wins: PROXMOX_VE_ENDPOINT,
# PROXMOX_VE_API_TOKEN, …
#
# For a real site: encrypt a file of your own with your own key (`sops` or `clusterctl` read it),
# and delete `age_key_file` with the file it names: a key beside the data protects nothing.

locals {
  secrets_file = "credentials.sops.yaml"
  age_key_file = "example-age-key.txt"
}

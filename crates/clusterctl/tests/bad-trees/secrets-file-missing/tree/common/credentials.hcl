locals {
  secrets_file = "nowhere.sops.yaml"
}

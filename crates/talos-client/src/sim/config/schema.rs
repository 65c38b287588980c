//! Field tree of the v1alpha1 document, in the order in which the node writes it.

use std::collections::HashMap;
use std::sync::OnceLock;

/// Type of a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    /// Text.
    Text,
    /// A boolean that is left out when false.
    Flag,
    /// A boolean that is written when it was given.
    Tri,
    /// A number that is left out when zero.
    Number,
    /// Anything.
    Any,
    /// A list.
    List(Box<Self>),
    /// A mapping with any keys.
    Map(Box<Self>),
    /// A structure by its name in the tree.
    Struct(String),
}

/// A field of a structure.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// Key.
    pub(crate) name: String,
    /// Type of the value.
    pub(crate) kind: Type,
    /// Whether it is written even when it is not set.
    pub(crate) always: bool,
}

/// One line a structure: `name: field=type …`. `!` after a type: always written. `s` text, `b` flag, `t` tri-state
/// flag, `n` number, `a` anything, `[x]` list, `{x}` map, a capital letter starts the name of another structure.
const TREE: &str = "
Config: version=s! debug=t persist=t machine=Machine! cluster=Cluster!
Machine: type=s! token=s! ca=Ca acceptedCAs=[Crt] certSANs=[s]! controlPlane=CpComponents kubelet=Kubelet pods=[a] network=Network disks=[Disk] install=Install files=[File] env={s} time=Time sysctls={s} sysfs={s} registries=Registries systemDiskEncryption=DiskEncryption features=Features udev=Udev logging=Logging kernel=Kernel seccompProfiles=[Seccomp] baseRuntimeSpecOverrides={a} nodeLabels={s} nodeAnnotations={s} nodeTaints={s}
Ca: crt=s! key=s!
Crt: crt=s!
Key: key=s!
CpComponents: controllerManager=Disabled scheduler=Disabled
Disabled: disabled=t
Kubelet: image=s clusterDNS=[s] extraArgs={a} extraMounts=[Mount] extraConfig={a} credentialProviderConfig={a} defaultRuntimeSeccompProfileEnabled=t registerWithFQDN=t nodeIP=NodeIp skipNodeRegistration=t disableManifestsDirectory=t
Mount: destination=s type=s source=s options=[s] uidMappings=[IdMap] gidMappings=[IdMap]
IdMap: containerID=n hostID=n size=n
NodeIp: validSubnets=[s]
Network: hostname=s interfaces=[Device] nameservers=[s] searchDomains=[s] extraHostEntries=[HostEntry] kubespan=KubeSpan disableSearchDomain=t
HostEntry: ip=s! aliases=[s]!
KubeSpan: enabled=t advertiseKubernetesNetworks=t allowDownPeerBypass=t harvestExtraEndpoints=t mtu=n filters=KubeSpanFilters
KubeSpanFilters: endpoints=[s] excludeAdvertisedNetworks=[s]
Device: interface=s deviceSelector=Selector addresses=[s] cidr=s routes=[Route] bond=Bond bridge=Bridge bridgePort=BridgePort vlans=[Vlan] mtu=n dhcp=t ignore=t dummy=t dhcpOptions=Dhcp wireguard=Wireguard vip=Vip
Selector: busPath=s hardwareAddr=s permanentAddr=s pciID=s driver=s physical=t
Route: network=s gateway=s source=s metric=n mtu=n
Bond: interfaces=[s] deviceSelectors=[Selector] arpIPTarget=[s] mode=s xmitHashPolicy=s lacpRate=s adActorSystem=s arpValidate=s arpAllTargets=s primary=s primaryReselect=s failOverMac=s adSelect=s miimon=n updelay=n downdelay=n arpInterval=n resendIgmp=n minLinks=n lpInterval=n packetsPerSlave=n numPeerNotif=n tlbDynamicLb=n allSlavesActive=n useCarrier=t adActorSysPrio=n adUserPortKey=n peerNotifyDelay=n
Bridge: interfaces=[s] stp=Enabled vlan=BridgeVlan
BridgeVlan: vlanFiltering=t
BridgePort: master=s
Enabled: enabled=t
Vlan: addresses=[s] cidr=s routes=[Route] dhcp=t vlanId=n! mtu=n vip=Vip dhcpOptions=Dhcp
Dhcp: routeMetric=n! ipv4=t ipv6=t duidv6=s
Wireguard: privateKey=s listenPort=n firewallMark=n peers=[Peer]
Peer: publicKey=s endpoint=s persistentKeepaliveInterval=s allowedIPs=[s]
Vip: ip=s equinixMetal=Token hcloud=Token
Token: apiToken=s!
Disk: device=s partitions=[Partition]
Partition: size=a mountpoint=s
Install: disk=s diskSelector=DiskSelector extraKernelArgs=[s] image=s extensions=[Image] bootloader=t wipe=b! legacyBIOSSupport=t grubUseUKICmdline=t
DiskSelector: size=a name=s model=s serial=s modalias=s uuid=s wwid=s type=s busPath=s
Image: image=s
File: content=s! permissions=a! path=s! op=s!
Time: disabled=t servers=[s] bootTimeout=s
Registries: mirrors={Mirror} config={RegistryConfig}
Mirror: endpoints=[s]! overridePath=t skipFallback=t
RegistryConfig: tls=RegistryTls auth=RegistryAuth
RegistryTls: clientIdentity=Ca ca=s insecureSkipVerify=t
RegistryAuth: username=s password=s auth=s identityToken=s
DiskEncryption: state=Encryption ephemeral=Encryption
Encryption: provider=s! keys=[EncryptionKey]! cipher=s keySize=n blockSize=n options=[s]
EncryptionKey: static=a nodeID=a kms=a slot=n! tpm=a
Features: rbac=t stableHostname=t kubernetesTalosAPIAccess=ApiAccess apidCheckExtKeyUsage=t diskQuotaSupport=t kubePrism=KubePrism hostDNS=HostDns imageCache=ImageCache nodeAddressSortAlgorithm=s
ApiAccess: enabled=t allowedRoles=[s] allowedKubernetesNamespaces=[s]
KubePrism: enabled=t port=n
HostDns: enabled=t forwardKubeDNSToHost=t resolveMemberNames=t
ImageCache: localEnabled=t
Udev: rules=[s]
Logging: destinations=[LogDestination]!
LogDestination: endpoint=s! format=s! extraTags={s}
Kernel: modules=[Module]
Module: name=s! parameters=[s]
Seccomp: name=s! value={a}!
Cluster: id=s secret=s controlPlane=ControlPlane! clusterName=s network=ClusterNetwork token=s aescbcEncryptionSecret=s secretboxEncryptionSecret=s ca=Ca acceptedCAs=[Crt] aggregatorCA=Ca serviceAccount=Key apiServer=ApiServer controllerManager=ControllerManager proxy=Proxy scheduler=Scheduler discovery=Discovery etcd=Etcd coreDNS=CoreDns externalCloudProvider=CloudProvider extraManifests=[s] extraManifestHeaders={s} inlineManifests=[Manifest] adminKubeconfig=AdminKubeconfig allowSchedulingOnMasters=t allowSchedulingOnControlPlanes=t
ControlPlane: endpoint=s! localAPIServerPort=n
ClusterNetwork: cni=Cni dnsDomain=s! podSubnets=[s]! serviceSubnets=[s]!
Cni: name=s urls=[s] flannel=Flannel
Flannel: extraArgs=[s] kubeNetworkPoliciesEnabled=t
ApiServer: image=s extraArgs={a} extraVolumes=[Volume] env={s} certSANs=[s] disablePodSecurityPolicy=t admissionControl=[Admission] auditPolicy={a} resources=Resources authorizationConfig=[Authorizer]
Volume: hostPath=s! mountPath=s! readonly=t
Admission: name=s! configuration={a}!
Resources: requests={a} limits={a}
Authorizer: type=s name=s webhook={a}
ControllerManager: image=s extraArgs={a} extraVolumes=[Volume] env={s} resources=Resources
Proxy: disabled=t image=s mode=s extraArgs={a}
Scheduler: image=s extraArgs={a} extraVolumes=[Volume] env={s} resources=Resources config={a}
Discovery: enabled=t registries=DiscoveryRegistries!
DiscoveryRegistries: kubernetes=Disabled! service=DiscoveryService!
DiscoveryService: disabled=t endpoint=s
Etcd: image=s ca=Ca extraArgs={a} subnet=s advertisedSubnets=[s] listenSubnets=[s]
CoreDns: disabled=t image=s
CloudProvider: enabled=t manifests=[s]
Manifest: name=s! contents=s!
AdminKubeconfig: certLifetime=s
";

/// Fields of a structure of the tree.
pub(crate) fn fields(name: &str) -> &'static [Field] {
    static FIELDS: OnceLock<HashMap<String, Vec<Field>>> = OnceLock::new();
    let all = FIELDS.get_or_init(|| TREE.lines().filter_map(structure).collect());
    all.get(name).map(Vec::as_slice).unwrap_or_default()
}

fn structure(line: &str) -> Option<(String, Vec<Field>)> {
    let (name, rest) = line.split_once(": ")?;
    Some((name.to_owned(), rest.split_whitespace().filter_map(field).collect()))
}

fn field(text: &str) -> Option<Field> {
    let (name, kind) = text.split_once('=')?;
    let always = kind.ends_with('!');
    Some(Field { name: name.to_owned(), kind: kind_of(kind.trim_end_matches('!')), always })
}

fn kind_of(text: &str) -> Type {
    let inner = |open, close| text.strip_prefix(open).and_then(|t: &str| t.strip_suffix(close));
    if let Some(item) = inner('[', ']') {
        return Type::List(Box::new(kind_of(item)));
    }
    if let Some(item) = inner('{', '}') {
        return Type::Map(Box::new(kind_of(item)));
    }
    match text {
        "s" => Type::Text,
        "b" => Type::Flag,
        "t" => Type::Tri,
        "n" => Type::Number,
        "a" => Type::Any,
        name => Type::Struct(name.to_owned()),
    }
}

/// Documents beside v1alpha1: kind, first minor version of Talos 1.x, keys after `apiVersion` and `kind`.
const KINDS: &[(&str, u64, &str)] = &[
    ("HostnameConfig", 12, "auto hostname"),
    ("LinkConfig", 12, "name up mtu addresses routes multicast"),
    ("LinkAliasConfig", 12, "name selector"),
    ("VLANConfig", 12, "name vlanID vlanMode parent up mtu addresses routes multicast"),
    (
        "BondConfig",
        12,
        "name hardwareAddr links bondMode miimon updelay downdelay useCarrier xmitHashPolicy arpInterval arpIpTargets nsIp6Targets arpValidate arpAllTargets lacpRate failOverMac adSelect adActorSysPrio adUserPortKey adLACPActive primaryReselect resendIGMP minLinks lpInterval packetsPerSlave numPeerNotif tlbLogicalLb allSlavesActive peerNotifDelay missedMax up mtu addresses routes multicast",
    ),
    ("BridgeConfig", 12, "name hardwareAddr links stp vlan up mtu addresses routes multicast"),
    ("DummyLinkConfig", 12, "name hardwareAddr up mtu addresses routes multicast"),
    (
        "WireguardConfig",
        12,
        "name privateKey listenPort firewallMark peers up mtu addresses routes multicast",
    ),
    ("VRFConfig", 13, "name hardwareAddr links table up mtu addresses routes multicast"),
    ("DHCPv4Config", 12, "name routeMetric ignoreHostname clientIdentifier duidRaw"),
    ("DHCPv6Config", 12, "name routeMetric ignoreHostname clientIdentifier duidRaw"),
    ("Layer2VIPConfig", 12, "name link"),
    ("HCloudVIPConfig", 12, "name link apiToken"),
    ("ResolverConfig", 12, "nameservers searchDomains"),
    ("TimeSyncConfig", 12, "enabled bootTimeout ntp ptp"),
    ("StaticHostConfig", 12, "name hostnames"),
    (
        "KubeSpanConfig",
        13,
        "enabled advertiseKubernetesNetworks allowDownPeerBypass harvestExtraEndpoints mtu filters",
    ),
    ("KubeSpanEndpointsConfig", 11, "extraAnnouncedEndpoints"),
    ("NetworkDefaultActionConfig", 11, "ingress"),
    ("NetworkRuleConfig", 11, "name portSelector ingress"),
    ("EthernetConfig", 11, "name features rings channels wakeOnLan"),
    ("BlackholeRouteConfig", 13, "name metric"),
    ("RoutingRuleConfig", 13, "name src dst table action iifName oifName fwMark fwMask"),
    ("TCPProbeConfig", 13, "name interval failureThreshold endpoint timeout"),
    ("VolumeConfig", 11, "name provisioning encryption mount"),
    ("UserVolumeConfig", 11, "name volumeType provisioning filesystem encryption mount"),
    ("RawVolumeConfig", 11, "name provisioning encryption"),
    ("ExistingVolumeConfig", 11, "name discovery mount"),
    ("ExternalVolumeConfig", 13, "name filesystemType mount"),
    ("SwapVolumeConfig", 11, "name provisioning encryption"),
    ("ZswapConfig", 11, "maxPoolPercent shrinkerEnabled"),
    ("RegistryMirrorConfig", 12, "name endpoints skipFallback"),
    ("RegistryAuthConfig", 12, "name username password auth identityToken"),
    ("RegistryTLSConfig", 12, "name clientIdentity ca insecureSkipVerify"),
    ("KmsgLogConfig", 11, "name url"),
    ("EventSinkConfig", 11, "endpoint"),
    ("WatchdogTimerConfig", 11, "device timeout"),
    (
        "OOMConfig",
        12,
        "triggerExpression cgroupRankingExpression strictCgroupClassOrdering sampleInterval",
    ),
    ("TrustedRootsConfig", 11, "name certificates"),
    ("ExtensionServiceConfig", 11, "name configFiles environment"),
    ("SideroLinkConfig", 11, "apiUrl uniqueToken"),
    ("PCIDriverRebindConfig", 11, "name targetDriver"),
    ("EnvironmentConfig", 13, "variables"),
    ("ImageVerificationConfig", 13, "rules"),
];

/// Keys of a document kind at Talos `1.minor`, `apiVersion` and `kind` first.
pub(crate) fn document_keys(kind: &str, minor: u64) -> Option<Vec<&'static str>> {
    let (_, _, keys) = KINDS.iter().find(|(name, since, _)| *name == kind && *since <= minor)?;
    Some(["apiVersion", "kind"].into_iter().chain(keys.split_whitespace()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_structure_that_is_named_exists() {
        fn check(kind: &Type) {
            match kind {
                Type::List(inner) | Type::Map(inner) => check(inner),
                Type::Struct(name) => assert!(!fields(name).is_empty(), "{name}"),
                _ => {}
            }
        }
        for line in TREE.lines().filter_map(structure) {
            line.1.iter().for_each(|f| check(&f.kind));
        }
    }

    #[test]
    fn kinds_depend_on_the_version() {
        assert!(document_keys("HostnameConfig", 11).is_none());
        assert_eq!(
            document_keys("HostnameConfig", 12).unwrap(),
            ["apiVersion", "kind", "auto", "hostname"]
        );
    }
}
